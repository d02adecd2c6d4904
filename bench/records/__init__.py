"""What a run keeps: frozen records, raw samples, and the folder that holds them. No torch, no judging."""
