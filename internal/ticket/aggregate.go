package ticket

// Standing is its public number and its main state without the enum's prefix.
func (s *State) Standing() (no, state string) { return s.No, s.State.String()[len("TICKET_STATE_"):] }

// Owner is the data subject whose key seals what is said of it; empty while nothing was.
func (s *State) Owner() string { return s.Subject }
