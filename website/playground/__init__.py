"""The playground: a page that runs netspec's front end in the browser."""
