"""Data sets explained and kept as Parquet: their images, the files, and what reads these."""
