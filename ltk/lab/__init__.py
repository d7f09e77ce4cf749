"""Networks to order: sites, routers and NATs, described as resources."""
