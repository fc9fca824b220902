"""Making rerankers from data (extra `train`); nothing else imports it."""
