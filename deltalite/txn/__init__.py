"""How a change becomes a version: finalise, put if absent, check the winners, again. The one place that commits."""
