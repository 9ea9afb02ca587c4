package imapd

import (
	"mailcrypt/imapd/imapwire"
	"mailcrypt/internal/deflate"
)

// compress is COMPRESS (RFC 4978). Compression begins behind the OK; what the client has
// sent behind the command is compressed already.
func (s *session) compress(*call) error {
	var mechanism string
	err := s.args(func() (err error) {
		mechanism, err = s.dec.Keyword()
		return err
	})
	switch {
	case err != nil:
		return err
	case s.compressed:
		return no("COMPRESSIONACTIVE", "COMPRESSION=DEFLATE already enabled.")
	case mechanism != "DEFLATE":
		return no("CANNOT", "Unknown compression mechanism.")
	}
	s.after = func() error {
		s.compressed = true
		if s.zip == nil {
			s.zip = deflate.NewReader(s.conn)
		}
		s.zip.Begin(s.dec.Layer(s.zip))
		s.enc.Reset(deflate.NewWriter(s.conn))
		s.srv.opts.Metrics.Compressed(1)
		return nil
	}
	return ok("", "Begin compression.")
}

// endCompression takes the layer off: the client's stream ends behind the command that was
// read last (RFC 8437 section 4.1). What came compressed behind that is a mistake of the
// client's and must not be taken for anything else.
func (s *session) endCompression() error {
	if !s.compressed {
		return nil
	}
	if s.dec.Buffered() > 0 {
		return &imapwire.FatalError{Reason: "Compressed data behind the end of compression."}
	}
	s.zip.End() // it hands out what follows as it is
	s.compressed = false
	s.enc.Reset(s.conn)
	s.srv.opts.Metrics.Compressed(-1)
	return nil
}
