"""The reel as people use it: a whole stack, and Chromium walking through its pages by mouse and by keyboard.

    make browser        # into var/browser/: a picture of every page, at desk and phone width

Not part of `make test`: it needs Debian's packages `chromium` and `chromium-driver`.
"""
