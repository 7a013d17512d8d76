package admin

import (
	_ "embed"
	"net/http"
)

// openAPI describes the routes, with all that goes in and comes out, for programs. It is made
// from the routing table and the types by `make docs`; see openapitable_test.go.
//
//go:embed openapi.json
var openAPI []byte

func (a *api) getOpenAPI(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(openAPI) // what fails here is the connection
}
