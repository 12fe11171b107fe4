"""The report on what INT8 does to a model: a page, its data, and Matplotlib figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keras_int8nmt._faces import lazy_face

_HOMES = {
    "Quality": "report.quality",
    "ReportData": "report.data",
    "collect": "report.data",
    "compare_translations": "report.quality",
    "measure_quality": "report.quality",
    "plot_histograms": "report.figures",
    "plot_matmuls": "report.figures",
    "render": "report.html",
    "write_report": "report.write",
}

__all__ = [
    "Quality",
    "ReportData",
    "collect",
    "compare_translations",
    "measure_quality",
    "plot_histograms",
    "plot_matmuls",
    "render",
    "write_report",
]

if TYPE_CHECKING:
    from keras_int8nmt.report.data import (
        ReportData,
        collect,
    )
    from keras_int8nmt.report.figures import (
        plot_histograms,
        plot_matmuls,
    )
    from keras_int8nmt.report.html import (
        render,
    )
    from keras_int8nmt.report.quality import (
        Quality,
        compare_translations,
        measure_quality,
    )
    from keras_int8nmt.report.write import (
        write_report,
    )
else:
    __getattr__, __dir__ = lazy_face(__name__, _HOMES)
