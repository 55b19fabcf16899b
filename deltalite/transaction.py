"""deltalake's ``deltalake.transaction``: what a commit carries."""

from deltalite.operations.options import CommitProperties, PostCommitHookProperties, Transaction

__all__ = ["CommitProperties", "PostCommitHookProperties", "Transaction"]
