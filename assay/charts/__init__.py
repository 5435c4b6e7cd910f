"""Curves as SVG: in a page of the explorer, and as files of their own.

Start with `drawing`: a plot's series are drawn by `draw_plot` for a page whose width they take, and
by `draw_picture` for a file. `axes` has ticks at round numbers. `static/chart.css` is the look of
both, in light and dark. Nothing here knows what is drawn, and nothing beyond the standard library
is imported.
"""
