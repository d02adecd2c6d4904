"""What a person reads: tables, plots, one page, one sentence. Every figure comes judged; no torch."""
