"""From finished stages to results: the schema, measuring, summarising, comparing, sealed scoring."""
