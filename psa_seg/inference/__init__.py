"""A trained model and pictures of one's own: `load`, what it gives, and what a folder becomes.

checkpoint -> stored.read   its config as data, its model, its pipelines, names, colours
           -> Segmenter     pictures in, `Segmentation`s out: whole, in tiles, augmented
pictures   -> inputs.find   files, folders, patterns, lists, videos; a place for each
           -> predict       one after the other, into the files of `outputs`
"""
