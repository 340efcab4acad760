"""Pictures of nets: laid out block by block, and written as SVG, HTML, PNG, Mermaid or DOT."""
