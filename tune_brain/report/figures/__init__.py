"""Figures drawn from tables. All names in them are escaped, because plotly interprets texts as markup."""
