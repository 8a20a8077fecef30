"""Loss terms as pure functions; recipes in `conf/loss/` name and weigh them."""
