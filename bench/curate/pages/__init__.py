"""Web pages become passages of text, by a crawl that a site's owner would not mind."""
