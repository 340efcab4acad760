"""The site: its pages are staged from the documents that the tests run, and from the package."""
