"""Users' files of any usual kind and form become examples."""
