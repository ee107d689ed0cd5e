"""Small charts in SVG, from numbers to ``parts.Chart``; colours come from the page's style alone."""
