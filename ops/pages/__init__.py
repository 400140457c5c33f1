"""Parts of the pages in ops/ that are made from the code, so that they can't tell anything else. Changes no code."""
