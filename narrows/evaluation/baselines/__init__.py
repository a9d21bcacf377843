"""Codecs of others as operating points.

audio     Opus, AAC, MP3 and others, by FFmpeg
ffmpeg    FFmpeg's audio encoders, in PyAV or as a program
lyra      Lyra V2, a neural codec of speech
image     JPEG, WebP, AVIF and others, by Pillow
video     H.264, HEVC, VP9 and AV1
intra     images as intra frames of video encoders
streams   FFmpeg's video encoders, in PyAV
settings  the settings that they accept
"""
