"""What a version is handed over as: wheel, sdist, the image's build context, its packages, sums. Publishes nothing."""
