"""Boxes with a mask each: what they are read from, and COCO's figures of them."""
