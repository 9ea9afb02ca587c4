package message

import "errors"

// ErrEncoding reports bytes that a content transfer encoding does not allow.
var ErrEncoding = errors.New("message: invalid transfer encoding")
