"""Pages as people use them: whole stacks, and Chromium walking through the reel by mouse and by keyboard, and looking
at what Flower shows.

    make browser        # into var/browser/: a picture of every page, at desk and phone width

Not part of `make test`: it needs Debian's packages `chromium` and `chromium-driver`.
"""
