// A service in Go that knows who is there: by the proxy's headers, or by asking the gateway.
package main

import (
	"encoding/json"
	"log"
	"net/http"
	"net/url"
	"os"
	"strings"
)

var gateway = Gateway{URL: os.Getenv("GATEWAY"), Token: os.Getenv("GATEWAY_TOKEN")}

// byProxy is whom the proxy, which has asked already, has let in. (Two headers of the name were
// not both written by it.)
func byProxy(request *http.Request) (string, error) {
	said := request.Header.Values("X-Auth-Subject")
	if len(said) != 1 || strings.Contains(said[0], ",") {
		return "", nil
	}
	return url.PathUnescape(said[0])
}

// cookie is its value; two of one name are an attack, and none.
func cookie(request *http.Request, name string) string {
	var found []string
	for _, cookie := range request.Cookies() {
		if cookie.Name == name {
			found = append(found, cookie.Value)
		}
	}
	if len(found) != 1 {
		return ""
	}
	return found[0]
}

// byAsking is whose login the cookie is.
func byAsking(request *http.Request) (string, error) {
	name := os.Getenv("COOKIE_NAME") // "__Host-clustertoken"
	token := cookie(request, name)
	if token == "" {
		return "", nil
	}
	said, err := gateway.Introspect(request.Context(), token, cookie(request, name+"-bound"))
	if err != nil || !said.Active {
		return "", err
	}
	return said.Subject, nil
}

func handler(whoIs func(*http.Request) (string, error)) http.HandlerFunc {
	return func(response http.ResponseWriter, request *http.Request) {
		subject, err := whoIs(request)
		status := http.StatusOK
		if err != nil {
			status = http.StatusServiceUnavailable
		} else if subject == "" {
			status = http.StatusUnauthorized
		}
		response.Header().Set("Content-Type", "application/json")
		response.Header().Set("Cache-Control", "no-store")
		response.WriteHeader(status)
		json.NewEncoder(response).Encode(map[string]any{
			"service": "reports", "subject": subject, "headers": request.Header,
		})
	}
}

func main() {
	http.HandleFunc("/reports/", handler(byProxy))
	http.HandleFunc("/reports/asked", handler(byAsking))
	http.HandleFunc("/reports/health", func(http.ResponseWriter, *http.Request) {})
	// Only the proxy reaches it: whoever else could would say what it likes in X-Auth-Subject.
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), nil))
}
