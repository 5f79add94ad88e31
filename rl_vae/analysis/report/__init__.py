"""The report: models, an agent or a comparison as one HTML file, decoders live in it.

program.py    a network as layers with their numbers, for the page's script
charts.py     charts as SVG, each with its numbers
measures.py   what is said of a model in numbers
explorer.py   decoders, policies and codes, for the live part
sections.py   the parts of the page about models
study.py      those about a comparison
page.py       write_report
explorer.js   the script, style.css the style
"""

from rl_vae.analysis.report.page import Report, write_report

__all__ = ["Report", "write_report"]
