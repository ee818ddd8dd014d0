// Package servers starts the servers that stand in for a data centre: PostgreSQL, NATS nodes as processes of their own, and TCP proxies that can be cut.
// Tests, fault runs and dispatcher bench use it; what serves a city does not.
package servers
