package admin

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const protocolDoc = "../docs/admin-protocol.md"

// TestProtocolDocument fails where the lists in the document of the protocol are not what the
// code says. UPDATE=1 writes them.
func TestProtocolDocument(t *testing.T) {
	is, err := os.ReadFile(protocolDoc)
	if err != nil {
		t.Fatal(err)
	}
	s := parseSource(t)
	want := is
	for name, text := range map[string]string{"methods": s.methods(), "types": s.sharedTypes(), "kinds": s.kinds()} {
		begin, end := "<!-- "+name+": made by go test ./admin -->\n", "<!-- end of "+name+" -->\n"
		before, rest, ok := bytes.Cut(want, []byte(begin))
		_, after, ok2 := bytes.Cut(rest, []byte(end))
		if !ok || !ok2 {
			t.Fatalf("%s has no place for %s", protocolDoc, name)
		}
		want = slices.Concat(before, []byte(begin), []byte(text), []byte(end), after)
	}
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(protocolDoc, want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(is, want) {
		t.Errorf("%s is stale: UPDATE=1 go test ./admin -run TestProtocolDocument", protocolDoc)
	}
}

// TestProtocolDocumentNamesAll looks, by reflection and not by the source, whether every
// method, field and kind is in the document.
func TestProtocolDocumentNamesAll(t *testing.T) {
	text, err := os.ReadFile(protocolDoc)
	if err != nil {
		t.Fatal(err)
	}
	want := func(s string) {
		if !bytes.Contains(text, []byte(s)) {
			t.Errorf("%s does not have %q", protocolDoc, s)
		}
	}
	want(fmt.Sprintf("mailcryptd-admin %d\n", Version))
	for name := range kinds {
		want("| `" + name + "` |")
	}
	seen := map[reflect.Type]bool{}
	var fields func(t reflect.Type)
	fields = func(t reflect.Type) {
		switch t.Kind() {
		case reflect.Pointer, reflect.Slice:
			fields(t.Elem())
		case reflect.Struct:
			if seen[t] || t.PkgPath() != reflect.TypeFor[Password]().PkgPath() {
				return
			}
			seen[t] = true
			for f := range t.NumField() {
				if name, _, _ := strings.Cut(t.Field(f).Tag.Get("json"), ","); name != "" {
					want("| `" + name + "` |")
				}
				fields(t.Field(f).Type)
			}
		}
	}
	service := reflect.TypeFor[Service]()
	for i := range service.NumMethod() {
		m := service.Method(i)
		if m.Name == "Close" {
			continue
		}
		want("### " + m.Name + "\n")
		for p := range m.Type.NumIn() {
			fields(m.Type.In(p))
		}
		fields(m.Type.Out(0))
	}
	if len(seen) < 30 {
		t.Errorf("only %d types were looked at", len(seen))
	}
	fields(reflect.TypeFor[Progress]())
	fields(reflect.TypeFor[request]())
	fields(reflect.TypeFor[response]())
	fields(reflect.TypeFor[wireError]())
}

// A source is what the package's files say of the protocol.
type source struct {
	structs map[string]*ast.StructType
	docs    map[string]string
	same    map[string]string // a type made of another one
	consts  map[string]string
	texts   map[string]string // of errors.New
	errs    []errKind
	service *ast.InterfaceType
	used    []string // types that several places share, in the order of their first use
}

type errKind struct{ name, doc string }

func parseSource(t *testing.T) *source {
	t.Helper()
	s := &source{structs: map[string]*ast.StructType{}, docs: map[string]string{}, same: map[string]string{}, consts: map[string]string{}, texts: map[string]string{}}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	set := token.NewFileSet()
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(set, name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			if g, ok := d.(*ast.GenDecl); ok {
				s.take(g)
			}
		}
	}
	return s
}

func (s *source) take(g *ast.GenDecl) {
	for _, spec := range g.Specs {
		switch spec := spec.(type) {
		case *ast.TypeSpec:
			name := spec.Name.Name
			s.docs[name] = oneLine(g.Doc)
			switch x := spec.Type.(type) {
			case *ast.StructType:
				s.structs[name] = x
			case *ast.Ident:
				s.same[name] = x.Name
			case *ast.InterfaceType:
				if name == "Service" {
					s.service = x
				}
			}
		case *ast.ValueSpec:
			for i, id := range spec.Names {
				if i < len(spec.Values) {
					if lit, ok := spec.Values[i].(*ast.BasicLit); ok && lit.Kind == token.STRING && id.IsExported() {
						s.consts[id.Name], _ = strconv.Unquote(lit.Value)
					}
				}
				if text, ok := newError(spec.Values); ok && id.IsExported() {
					s.texts[id.Name] = text
					s.errs = append(s.errs, errKind{id.Name, oneLine(spec.Doc)})
				}
			}
		}
	}
}

// newError is the text of an error that errors.New makes.
func newError(values []ast.Expr) (text string, ok bool) {
	if len(values) != 1 {
		return "", false
	}
	call, ok := values[0].(*ast.CallExpr)
	if !ok || len(call.Args) != 1 {
		return "", false
	}
	lit, ok := call.Args[0].(*ast.BasicLit)
	if !ok {
		return "", false
	}
	text, err := strconv.Unquote(lit.Value)
	return text, err == nil
}

func oneLine(g *ast.CommentGroup) string { return strings.Join(strings.Fields(g.Text()), " ") }

// methods is a section for each method of Service.
func (s *source) methods() string {
	var b strings.Builder
	for _, m := range s.service.Methods.List {
		name := m.Names[0].Name
		f := m.Type.(*ast.FuncType)
		if name == "Close" {
			continue
		}
		request := ""
		if len(f.Params.List) > 1 {
			request = f.Params.List[1].Type.(*ast.Ident).Name
		}
		result := f.Results.List[0].Type.(*ast.Ident).Name
		fmt.Fprintf(&b, "### %s\n\n%s\n\n", name, s.words(oneLine(m.Doc), nil))
		if request == "" {
			b.WriteString("`args` is `{}`.\n\n")
		} else {
			fmt.Fprintf(&b, "`args` — %s\n\n%s\n", s.words(s.docs[request], s.names(request)), s.table(request))
		}
		if slices.Contains(s.used, result) || result == "ResealResult" || result == "WhoResult" {
			fmt.Fprintf(&b, "`result`: %s.\n\n", s.link(result))
			continue
		}
		fmt.Fprintf(&b, "`result` — %s\n\n%s\n", s.words(s.docs[result], s.names(result)), s.table(result))
	}
	return b.String()
}

// sharedTypes is a section for each type that the methods' tables name.
func (s *source) sharedTypes() string {
	s.methods()
	var b strings.Builder
	for i := 0; i < len(s.used); i++ { // tables name further ones
		name := s.used[i]
		table := s.table(name)
		fmt.Fprintf(&b, "### %s\n\n%s\n\n%s\n", name, s.words(s.docs[name], s.names(name)), table)
	}
	return b.String()
}

// kinds is a table of the kinds of errors.
func (s *source) kinds() string {
	var b strings.Builder
	b.WriteString("| kind | what it reports |\n|---|---|\n")
	for _, e := range s.errs {
		if kind := s.kindName(e.name); kind != "" {
			_, what, _ := strings.Cut(e.doc, "reports ")
			fmt.Fprintf(&b, "| `%s` | %s |\n", kind, s.words(what, nil))
		}
	}
	return b.String()
}

// kindName is the name on the socket of an error, "" of what is none.
func (s *source) kindName(ident string) string {
	for name, err := range kinds {
		if text, ok := s.texts[ident]; ok && err.Error() == text {
			return name
		}
	}
	return ""
}

// A docField is a field of a struct as JSON has it.
type docField struct {
	goName, name, kind, doc string
	optional                bool
}

// fields lists the fields of a struct, those of embedded ones in their place.
func (s *source) fields(name string) (list []docField) {
	if other, ok := s.same[name]; ok {
		return s.fields(other)
	}
	for _, f := range s.structs[name].Fields.List {
		if len(f.Names) == 0 {
			list = append(list, s.fields(f.Type.(*ast.Ident).Name)...)
			continue
		}
		if f.Tag == nil {
			continue
		}
		tag, _ := strconv.Unquote(f.Tag.Value)
		key, options, _ := strings.Cut(reflect.StructTag(tag).Get("json"), ",")
		d := docField{goName: f.Names[0].Name, name: key, kind: s.typeOf(f.Type), optional: strings.Contains(options, "omitempty")}
		d.doc = strings.TrimSpace(oneLine(f.Doc) + " " + oneLine(f.Comment))
		list = append(list, d)
	}
	return list
}

func (s *source) names(name string) map[string]string {
	m := map[string]string{}
	for _, f := range s.fields(name) {
		m[f.goName] = f.name
	}
	return m
}

func (s *source) table(name string) string {
	var b strings.Builder
	b.WriteString("| field | type | |\n|---|---|---|\n")
	own := s.names(name)
	for _, f := range s.fields(name) {
		kind := f.kind
		if f.optional {
			kind += ", optional"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", f.name, kind, s.words(f.doc, own))
	}
	return b.String()
}

func (s *source) typeOf(e ast.Expr) string {
	switch x := e.(type) {
	case *ast.StarExpr:
		return s.typeOf(x.X)
	case *ast.ArrayType:
		if id, ok := x.Elt.(*ast.Ident); ok && id.Name == "byte" {
			return "base64"
		}
		return "list of " + s.typeOf(x.Elt)
	case *ast.SelectorExpr:
		return "time" // time.Time; json.RawMessage is of no request or result
	case *ast.Ident:
		switch x.Name {
		case "string":
			return "string"
		case "bool":
			return "boolean"
		}
		if s.structs[x.Name] == nil {
			return "number"
		}
		return s.link(x.Name)
	}
	return "?"
}

// link names a type that has a section of its own.
func (s *source) link(name string) string {
	if !slices.Contains(s.used, name) {
		s.used = append(s.used, name)
	}
	return fmt.Sprintf("[%s](#%s)", name, strings.ToLower(name))
}

var goName = regexp.MustCompile(`\b[A-Z][A-Za-z]+\b`)

// words puts what Go calls by its names into the names of the protocol.
func (s *source) words(text string, own map[string]string) string {
	text = strings.NewReplacer("|", `\|`, "[WithProgress]", "progress", "*", `\*`, "the function of progress", "progress lines").Replace(text)
	return goName.ReplaceAllStringFunc(text, func(w string) string {
		if name, ok := own[w]; ok && name != "" {
			return "`" + name + "`"
		}
		if value, ok := s.consts[w]; ok {
			return "`\"" + value + "\"`"
		}
		if kind := s.kindName(w); kind != "" {
			return "`" + kind + "`"
		}
		return w
	})
}
