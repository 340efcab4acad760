"""How wide text is: the widths of DejaVu Sans, which Verdana shares but for a few hundredths.

A picture is laid out where no font may be at hand, so the widths of its characters are a table.
"""

from __future__ import annotations

import unicodedata

# Thousandths of the font's size, of the characters from the blank to the tilde.
_REGULAR = """
    318 401 460 838 636 950 780 275 390 390 500 838 318 361 318 337 636 636 636 636 636 636 636 636
    636 636 337 337 838 838 838 531 1000 684 686 698 770 632 575 775 752 295 295 656 557 863 748 787
    603 787 695 635 611 732 684 989 685 611 685 390 337 390 838 500 500 613 635 550 635 615 352 635
    634 278 278 579 278 974 634 612 635 635 411 521 392 634 592 818 592 592 525 636 337 636 838
"""
_BOLD = """
    348 456 521 838 696 1002 872 306 457 457 523 838 380 415 380 365 696 696 696 696 696 696 696 696
    696 696 400 400 838 838 838 580 1000 774 762 734 830 683 683 821 837 372 372 775 637 995 837 850
    733 850 770 720 682 812 774 1103 771 724 725 457 365 457 838 500 500 675 716 593 716 678 435 716
    712 343 343 665 343 1042 712 687 716 716 493 595 478 712 652 924 645 652 582 712 365 712 838
"""
_TABLES = {bold: tuple(map(int, text.split())) for bold, text in ((False, _REGULAR), (True, _BOLD))}
# Signs that pictures add to the words of a file.
_SIGNS = {False: {"·": 318, "×": 838}, True: {"·": 380, "×": 838}}
# Characters of other scripts: no letter of the font is wider than this but for a few.
_OTHER = 1100
_DOTS = "..."


def text_width(text: str, size: float, *, bold: bool = False) -> float:
    """Return the width of one line of text in a font of this size, in the size's unit."""
    return size / 1000 * sum(_width(char, bold) for char in text)


def _width(char: str, bold: bool) -> int:
    code = ord(char) - 32
    table = _TABLES[bold]
    if 0 <= code < len(table):
        return table[code]
    return 0 if unicodedata.combining(char) else _SIGNS[bold].get(char, _OTHER)


def shortened(text: str, size: float, width: float, *, bold: bool = False) -> str:
    """Return as much of the beginning of a text as fits, with dots for the rest."""
    if text_width(text, size, bold=bold) <= width:
        return text
    left = width * 1000 / size - sum(_width(char, bold) for char in _DOTS)
    kept = 0
    for char in text:
        left -= _width(char, bold)
        if left < 0:
            break
        kept += 1
    return text[:kept].rstrip() + _DOTS
