"""Digests and Spark's own hash functions."""

from __future__ import annotations

import hashlib
import zlib
from typing import Any

import numpy as np
import pyarrow as pa

from deltalite.exceptions import ExpressionError
from deltalite.expr.coerce import converted, implicit_type
from deltalite.expr.decimals import unscaled
from deltalite.expr.functions.registry import Function, Settings, add, constant, wrong_arguments
from deltalite.expr.functions.strings import rowwise
from deltalite.expr.vectors import Datum, broadcast, from_numpy, numpy_bools, numpy_values, valid_mask
from deltalite.model.expr import BINARY, INTEGER, LONG, STRING, Call, Expr, type_name
from deltalite.model.types import PrimitiveType

add("md5", "binary -> string", rowwise(lambda data: hashlib.md5(data, usedforsecurity=False).hexdigest()), safe=True)
add(
    "sha sha1",
    "binary -> string",
    rowwise(lambda data: hashlib.sha1(data, usedforsecurity=False).hexdigest()),
    safe=True,
)
add("crc32", "binary -> long", rowwise(zlib.crc32), safe=True)


def _sha2_rule(row: Function, args: list[Any]) -> Expr:
    if len(args) != 2:
        raise wrong_arguments(row, args, "arguments")
    bits = constant(row, args, 1, "number of bits")
    if bits not in (0, 224, 256, 384, 512):
        raise ExpressionError(f"sha2 has 224, 256, 384 or 512 bits, not {bits}")
    if implicit_type(args[0].type, "binary") is None:
        raise wrong_arguments(row, args, "types")
    return Call("sha2", (converted(args[0], BINARY), args[1]), STRING)


add("sha2", _sha2_rule, rowwise(lambda data, bits: hashlib.new(f"sha{bits or 256}", data).hexdigest()), safe=True)


def _hash_rule(result: PrimitiveType) -> Any:
    def rule(row: Function, args: list[Any]) -> Expr:
        if not args:
            raise wrong_arguments(row, args, "arguments")
        for a in args:
            if not isinstance(a.type, PrimitiveType) or a.type.type == "variant":
                raise ExpressionError(f"{row.name} of {type_name(a.type)} is not supported")
        return Call(row.name, tuple(args), result)

    return rule


def _hash(scheme: Any, wide: Any, t: pa.DataType) -> Any:
    """Folds the columns from the left: the hash of one is the seed of the next, a null leaves the seed as it is."""

    def evaluate(settings: Settings, *args: Datum) -> Datum:
        seeds = np.full(settings.length, 42, dtype=wide)
        for arg in args:
            values = broadcast(arg, settings.length)
            if pa.types.is_null(values.type):
                continue
            with np.errstate(over="ignore"):
                seeds = np.where(valid_mask(values), _hashed(scheme, values, seeds), seeds)
        return from_numpy(seeds.view(np.int32 if wide is np.uint32 else np.int64), t)

    return evaluate


def _hashed(scheme: Any, values: pa.Array, seeds: np.ndarray) -> np.ndarray:
    t = values.type
    if pa.types.is_boolean(t):
        return scheme.int32(numpy_bools(values).astype(np.int32), seeds)
    if pa.types.is_decimal(t):
        numbers = unscaled(values)
        if t.precision <= 18:
            return scheme.int64(numbers, seeds)
        return scheme.texts([_java_bytes(int(n)) for n in numbers], seeds)
    if pa.types.is_string(t) or pa.types.is_binary(t):
        found = values.cast(pa.binary()).to_pylist()
        return scheme.texts([b"" if v is None else v for v in found], seeds)
    numbers = numpy_values(values)
    if pa.types.is_floating(t):
        numbers = numbers + 0.0  # -0.0 hashes as 0.0
        numbers = np.where(np.isnan(numbers), np.nan, numbers).astype(numbers.dtype)
        numbers = numbers.view(np.int32 if t.bit_width == 32 else np.int64)
    if numbers.dtype.itemsize == 8:
        return scheme.int64(numbers, seeds)
    return scheme.int32(numbers.astype(np.int32), seeds)


def _java_bytes(value: int) -> bytes:
    """``BigInteger.toByteArray``: the fewest bytes of two's complement, big end first."""
    return value.to_bytes((value + (value < 0)).bit_length() // 8 + 1, "big", signed=True)


def _rotated(x: np.ndarray, by: int) -> np.ndarray:
    bits = x.dtype.itemsize * 8
    return (x << x.dtype.type(by)) | (x >> x.dtype.type(bits - by))


class Murmur3:
    """``hash``: Murmur3 in the 32-bit form, with Spark's way of hashing the bytes left over at the end."""

    @staticmethod
    def _mixed(h: np.ndarray, k: np.ndarray) -> np.ndarray:
        k = _rotated(k * np.uint32(0xCC9E2D51), 15) * np.uint32(0x1B873593)
        return _rotated(h ^ k, 13) * np.uint32(5) + np.uint32(0xE6546B64)

    @staticmethod
    def _final(h: np.ndarray, length: int) -> np.ndarray:
        h = h ^ np.uint32(length)
        h = (h ^ (h >> np.uint32(16))) * np.uint32(0x85EBCA6B)
        h = (h ^ (h >> np.uint32(13))) * np.uint32(0xC2B2AE35)
        return h ^ (h >> np.uint32(16))

    @classmethod
    def int32(cls, numbers: np.ndarray, seeds: np.ndarray) -> np.ndarray:
        return cls._final(cls._mixed(seeds, numbers.view(np.uint32)), 4)

    @classmethod
    def int64(cls, numbers: np.ndarray, seeds: np.ndarray) -> np.ndarray:
        whole = np.ascontiguousarray(numbers).view(np.uint64)
        low, high = whole.astype(np.uint32), (whole >> np.uint64(32)).astype(np.uint32)
        return cls._final(cls._mixed(cls._mixed(seeds, low), high), 8)

    @classmethod
    def texts(cls, texts: list[bytes], seeds: np.ndarray) -> np.ndarray:
        out = seeds.copy()
        for i, data in enumerate(texts):
            h = seeds[i : i + 1]
            aligned = len(data) - len(data) % 4
            for word in np.frombuffer(data, dtype="<u4", count=aligned // 4):
                h = cls._mixed(h, np.array([word]))
            for byte in np.frombuffer(data[aligned:], dtype=np.int8):
                h = cls._mixed(h, np.array([byte], dtype=np.int32).view(np.uint32))
            out[i] = cls._final(h, len(data))[0]
        return out


_P1, _P2, _P3 = np.uint64(0x9E3779B185EBCA87), np.uint64(0xC2B2AE3D27D4EB4F), np.uint64(0x165667B19E3779F9)
_P4, _P5 = np.uint64(0x85EBCA77C2B2AE63), np.uint64(0x27D4EB2F165667C5)


class XxHash64:
    """``xxhash64``"""

    @staticmethod
    def _final(h: np.ndarray) -> np.ndarray:
        h = (h ^ (h >> np.uint64(33))) * _P2
        h = (h ^ (h >> np.uint64(29))) * _P3
        return h ^ (h >> np.uint64(32))

    @classmethod
    def int32(cls, numbers: np.ndarray, seeds: np.ndarray) -> np.ndarray:
        h = seeds + _P5 + np.uint64(4)
        h = h ^ (numbers.view(np.uint32).astype(np.uint64) * _P1)
        return cls._final(_rotated(h, 23) * _P2 + _P3)

    @classmethod
    def int64(cls, numbers: np.ndarray, seeds: np.ndarray) -> np.ndarray:
        h = seeds + _P5 + np.uint64(8)
        h = h ^ (_rotated(np.ascontiguousarray(numbers).view(np.uint64) * _P2, 31) * _P1)
        return cls._final(_rotated(h, 27) * _P1 + _P4)

    @classmethod
    def texts(cls, texts: list[bytes], seeds: np.ndarray) -> np.ndarray:
        out = seeds.copy()
        for i, data in enumerate(texts):
            out[i] = cls._text(data, seeds[i : i + 1])[0]
        return out

    @classmethod
    def _text(cls, data: bytes, seed: np.ndarray) -> np.ndarray:
        position = 0
        if len(data) >= 32:
            lanes = [seed + _P1 + _P2, seed + _P2, seed, seed - _P1]
            while position + 32 <= len(data):
                for lane, word in enumerate(np.frombuffer(data, dtype="<u8", count=4, offset=position)):
                    lanes[lane] = _rotated(lanes[lane] + word * _P2, 31) * _P1
                position += 32
            h = sum((_rotated(v, by) for v, by in zip(lanes, (1, 7, 12, 18), strict=True)), np.zeros(1, np.uint64))
            for v in lanes:
                h = (h ^ (_rotated(v * _P2, 31) * _P1)) * _P1 + _P4
        else:
            h = seed + _P5
        h = h + np.uint64(len(data))
        return cls._final(cls._tail(data, position, h))

    @staticmethod
    def _tail(data: bytes, position: int, h: np.ndarray) -> np.ndarray:
        while position + 8 <= len(data):
            word = np.frombuffer(data, dtype="<u8", count=1, offset=position)
            h = _rotated(h ^ (_rotated(word * _P2, 31) * _P1), 27) * _P1 + _P4
            position += 8
        if position + 4 <= len(data):
            word = np.frombuffer(data, dtype="<u4", count=1, offset=position).astype(np.uint64)
            h = _rotated(h ^ (word * _P1), 23) * _P2 + _P3
            position += 4
        for byte in data[position:]:
            h = _rotated(h ^ (np.array([byte], dtype=np.uint64) * _P5), 11) * _P1
        return h


add("hash", _hash_rule(INTEGER), _hash(Murmur3, np.uint32, pa.int32()), strict=False, safe=True)
add("xxhash64", _hash_rule(LONG), _hash(XxHash64, np.uint64, pa.int64()), strict=False, safe=True)
