"""Boxes with keypoints: COCO's figures of them."""
