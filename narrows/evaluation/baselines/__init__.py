"""Classical codecs as operating points: audio by FFmpeg, images by Pillow and as intra frames of video encoders."""
