"""The page of a report, a Jinja template. Its security policy lets the browser load nothing from anywhere."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modelfleet.exploring.parts import Section

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; script-src 'unsafe-inline' blob:; \
style-src 'unsafe-inline'; img-src data: blob:; font-src data:">
<title>{{ title }}</title>
<style>
:root { color-scheme: light; --line: #d8dee6; --soft: #f5f7fa; --ink: #1c2733; --blue: #2563a8; }
body { font: 15px/1.5 system-ui, "Segoe UI", "DejaVu Sans", sans-serif; color: var(--ink); margin: 0; background: #fff; }
main { max-width: 1120px; margin: 0 auto; padding: 24px; }
h1 { font-size: 26px; margin: 0 0 4px; }
h2 { font-size: 20px; margin: 40px 0 8px; padding-top: 12px; border-top: 1px solid var(--line); }
h3 { font-size: 15px; margin: 20px 0 6px; }
p { margin: 6px 0; max-width: 80ch; }
.sub { color: #52606d; }
nav { margin: 16px 0; padding: 10px 14px; background: var(--soft); border: 1px solid var(--line); border-radius: 6px; }
nav a { margin-right: 16px; white-space: nowrap; color: var(--blue); text-decoration: none; }
nav a:hover { text-decoration: underline; }
.scroll { overflow-x: auto; }
table.plain { border-collapse: collapse; font-size: 13.5px; }
table.plain th, table.plain td { text-align: left; padding: 4px 14px 4px 8px; border-bottom: 1px solid var(--line);
  vertical-align: top; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
table.plain th { background: var(--soft); white-space: nowrap; }
table.plain td { min-width: 3em; }
ul.findings { list-style: none; padding: 0; }
ul.findings li { padding: 6px 12px; margin: 4px 0; border-left: 4px solid; background: var(--soft); overflow-wrap: anywhere; }
ul.findings .problem { border-color: #c0392b; }
ul.findings .warning { border-color: #d97706; }
ul.findings .note { border-color: #9aa5b1; }
.level { display: inline-block; width: 5.5em; font-weight: 600; }
.more { color: #52606d; font-size: 13px; }
</style>
<script>{{ plotly | safe }}</script>
</head>
<body>
<main>
<h1>{{ heading }}</h1>
<p class="sub">{{ sub }}; made {{ made }}</p>
<nav aria-label="Sections"><a href="#findings">What stands out</a>
{% for section in sections %}<a href="#{{ section.id }}">{{ section.title }}</a>
{% endfor %}</nav>
<h2 id="findings">What stands out</h2>
{% if findings %}<ul class="findings">
{% for finding in findings %}<li class="{{ finding.level }}"><span class="level">{{ finding.level }}</span>
{{ finding.text }}</li>
{% endfor %}</ul>{% else %}<p>Nothing does.</p>{% endif %}
{% for section in sections %}
<section>
<h2 id="{{ section.id }}">{{ section.title }}</h2>
{% for text in section.prose %}<p>{{ text }}</p>
{% endfor %}
{% for plot in section.plots %}{{ plot | safe }}
{% endfor %}
{% for table in section.tables %}
{% if table.title %}<h3>{{ table.title }}</h3>{% endif %}
<div class="scroll"><table class="plain">
<thead><tr>{% for name in table.head %}<th>{{ name }}</th>{% endfor %}</tr></thead>
<tbody>
{% for row in table.rows %}<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}</tbody>
</table></div>
{% if table.more > 0 %}<p class="more">and {{ "{:,}".format(table.more) }} more</p>{% endif %}
{% endfor %}
</section>
{% endfor %}
</main>
</body>
</html>
"""


def render_page(*, title: str, heading: str, sub: str, findings: Sequence[Any], sections: Sequence[Section]) -> str:
    """The whole page.

    :param findings: what stands out, each with a `level` (problem, warning, note) and a `text`.
    """
    from jinja2 import Environment

    from modelfleet.exploring.plots import script

    return (
        Environment(autoescape=True)
        .from_string(PAGE)
        .render(
            title=title,
            heading=heading,
            sub=sub,
            made=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
            findings=findings,
            sections=sections,
            plotly=script(),
        )
    )
