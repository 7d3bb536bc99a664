"""The package of a made-up team, for the end-to-end tests of forecasts: sales of items in stores."""
