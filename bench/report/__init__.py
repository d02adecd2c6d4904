"""The output for readers: tables, plots, pages and sentences, made from judged figures without torch."""
