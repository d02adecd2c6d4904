"""Names and reasons chosen to break a report."""

NAMES = (
    "<script>alert(1)</script>", "../../etc/passwd", "a" * 10_000, "🎉 émoji 漢字", "$x$", "$\\frac{", "[bold]b[/]",
    "a|b`c`\n\n# d", "\x1b[31mred\x1b[0m", "![x](http://y)", "", " ", "# heading",
    "\u202egnp.exe", "%s{}{{x}}", "\udc80",
)  # fmt: skip
