package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Said is what RFC 7662 says of a token.
type Said struct {
	Active  bool           `json:"active"`
	Subject string         `json:"sub"`
	Scope   string         `json:"scope"`
	Claims  map[string]any `json:"claims"`
	until   time.Time
}

// Gateway asks the gateway whose token something is, and believes it for as long as it says.
type Gateway struct {
	URL, Token string // http://127.0.0.1:9000, an API token with the scope "introspect"
	mutex      sync.Mutex
	known      map[string]Said
}

var maxAge = regexp.MustCompile(`max-age=(\d+)`)

// Introspect says whose token it is. An error: nobody can know, which is no "no": answer 503.
// Of a login that is bound to a device bound is needed, too: the cookie …-bound.
func (g *Gateway) Introspect(ctx context.Context, token, bound string) (Said, error) {
	now := time.Now() // (compared by its monotonic part, which nobody sets)
	key := token + " " + bound
	g.mutex.Lock()
	kept := g.known[key]
	g.mutex.Unlock()
	if now.Before(kept.until) {
		return kept, nil
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	form := url.Values{"token": {token}, "bound_token": {bound}}
	request, err := http.NewRequestWithContext(
		ctx, "POST", g.URL+"/introspect", strings.NewReader(form.Encode()))
	if err != nil {
		return Said{}, err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.Header.Set("Authorization", "Bearer "+g.Token)
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return Said{}, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return Said{}, fmt.Errorf("the gateway answered %d", answer.StatusCode)
	}
	var said Said
	if err := json.NewDecoder(answer.Body).Decode(&said); err != nil {
		return Said{}, err
	}
	if age := maxAge.FindStringSubmatch(answer.Header.Get("Cache-Control")); age != nil {
		seconds, _ := strconv.Atoi(age[1])
		// From the moment of the question on: on its way the answer may have grown old.
		said.until = now.Add(time.Duration(seconds) * time.Second)
		g.mutex.Lock()
		if g.known == nil || len(g.known) >= 10000 {
			g.known = map[string]Said{}
		}
		g.known[key] = said
		g.mutex.Unlock()
	}
	return said, nil
}
