# SPDX-License-Identifier: GPL-2.0
"""Draw each part of the standard input, after a line "=== NAME", as DIRECTORY/NAME.svg."""

import re
import sys
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import SVG_EXPORT_THEME
from rich.text import Text


def draw(path, lines):
    if lines[0].startswith("<"):
        path.write_text("\n".join(lines) + "\n")
        return
    console = Console(record=True, width=max(map(len, lines)), file=open("/dev/null", "w"))
    for line in lines:
        console.print(Text(line, style="bold" if line.startswith("# ") else ""), no_wrap=True)
    picture = console.export_svg(title=path.stem, theme=SVG_EXPORT_THEME, unique_id=path.stem)
    # The reader's own font, not one that is fetched from elsewhere.
    picture = re.sub(r"@font-face \{.*?\}\s*", "", picture, flags=re.DOTALL)
    path.write_text(picture.replace("Fira Code, monospace", "monospace"))


def main():
    parts = re.split(r"^=== (.*)\n", sys.stdin.read(), flags=re.MULTILINE)
    for name, text in zip(parts[1::2], parts[2::2]):
        draw(Path(sys.argv[1]) / f"{name}.svg", text.rstrip("\n").split("\n"))


main()
