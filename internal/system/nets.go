package system

import (
	"fmt"
	"net"
	"net/netip"
	"strings"

	"mailcrypt/config"
	"mailcrypt/userdb"
)

// allowed holds a login against the user's field allow_nets (Dovecot:
// auth_request_validate_networks): networks, or addresses alone, separated by commas;
// "local" stands for connections that have no address. What is no network admits nobody,
// and so does an empty field. It is looked at after the password, so that it tells nothing
// to those who do not know that.
func allowed(u *userdb.User, from net.Addr) error {
	nets, given, err := allowNets(u)
	if err != nil || !given {
		return err
	}
	addr, remote := address(from)
	for _, n := range nets {
		if !remote {
			if n == "local" {
				return nil
			}
			continue
		}
		if p, err := config.ParseNetwork(n); err == nil && p.Contains(addr) {
			return nil
		}
	}
	return fmt.Errorf("user %s: allow_nets does not list %v", u.Name, from)
}

// CheckUser looks at those of a user's fields that are not settings of the account.
func CheckUser(u *userdb.User) error {
	nets, _, err := allowNets(u)
	if err != nil {
		return err
	}
	for _, n := range nets {
		if _, err := config.ParseNetwork(n); err != nil && n != "local" {
			return fmt.Errorf("user %s: allow_nets: %q is no network", u.Name, n)
		}
	}
	return nil
}

// allowNets is what the field lists; given tells an empty field from none.
func allowNets(u *userdb.User) (nets []string, given bool, err error) {
	field, given := u.Fields["allow_nets"]
	if !given {
		return nil, false, nil
	}
	text, err := userdb.Expand(field, userdb.Vars{User: u.Name, Home: u.Home})
	if err != nil {
		return nil, true, fmt.Errorf("user %s: allow_nets: %w", u.Name, err)
	}
	for n := range strings.SplitSeq(string(text), ",") {
		nets = append(nets, strings.TrimSpace(n))
	}
	return nets, true, nil
}

// address is the client's address, without the zone of a link; an IPv4 address in IPv6 form
// is the IPv4 address.
func address(from net.Addr) (netip.Addr, bool) {
	tcp, ok := from.(*net.TCPAddr)
	if !ok {
		return netip.Addr{}, false
	}
	a, ok := netip.AddrFromSlice(tcp.IP)
	return a.Unmap(), ok
}
