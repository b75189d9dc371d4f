"""The model in use: which one, by verdict; what it reads on a picture; a page to draw on; its export.

The way through the room: champion (which model) → pictures (what it sees) → reading (what it says) → app.
Nothing here is imported by a run or a sweep.
"""
