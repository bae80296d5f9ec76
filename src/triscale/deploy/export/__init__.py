"""Networks as files of other libraries, checked, timed, and rounded to int8 where that is measured to be harmless."""

from triscale.deploy.export.export import (
    Exported as Exported,
    ExportMismatch as ExportMismatch,
    Int8 as Int8,
    export_model as export_model,
)
from triscale.deploy.export.formats import FORMATS as FORMATS, Format as Format
from triscale.deploy.export.guard import Int8Refused as Int8Refused
