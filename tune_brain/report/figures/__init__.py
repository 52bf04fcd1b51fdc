"""Tables as figures. Every name in them is escaped, since plotly reads the texts of a figure as markup."""
