// Package servers starts the servers that stand in for a data centre: PostgreSQL, NATS nodes as processes of their own, and TCP proxies that can be cut.
// Tests and fault runs use it; the product itself does not.
package servers
