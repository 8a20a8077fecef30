"""Pictures in and out: reading, colour, data sets, patches, made scenes."""
