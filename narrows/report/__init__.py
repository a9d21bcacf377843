"""HTML pages with plots and media, which the reports of evaluations and of training runs share.

markup.py           elements as text, escaped
number_format.py    numbers as text
plot.py  svg.py     a plot as data, and drawn
embedding.py        audio, images and clips as data: URIs; video_encoding.py: clips as MP4
media_section.py    their players
document.py         the page with report.css and report.js, which loads nothing from the network
"""
