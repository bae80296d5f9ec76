"""Ways to run a model on the CPU, by name: our compiled engine, torch, and other libraries."""

from triscale.deploy.engines.registry import (
    ENGINES as ENGINES,
    available_engines as available_engines,
    compile as compile,
    why_unavailable as why_unavailable,
)
