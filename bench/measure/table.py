"""Columns of text."""


def number(value, digits=3):
    """Short: 3 significant digits, None is a dash."""
    if value is None:
        return "-"
    if isinstance(value, str):
        return value
    if value == 0:
        return "0"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.{digits}g}" if abs(value) < 100 else f"{value:.0f}"


def render(headings, rows, words=0):
    """First column and the last `words` ones left, the others right."""
    cells = [[str(h) for h in headings]] + [[number(value) for value in row] for row in rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(headings))]
    lines = []
    for at, row in enumerate(cells):
        first = row[0].ljust(widths[0])
        figures = len(row) - words
        rest = "  ".join(cell.rjust(width) if i < figures else cell.ljust(width)
                         for i, (cell, width) in enumerate(zip(row[1:], widths[1:]), 1))
        lines.append(f"{first}  {rest}".rstrip())
        if at == 0:
            lines.append("-" * len(lines[0]))
    return "\n".join(lines)
