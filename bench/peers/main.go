// A proxy from Go's standard library: httputil.ReverseProxy behind an RS256 check that is made for every request.
package main

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"log"
	"math/big"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"time"
)

type header struct {
	Alg string `json:"alg"`
	Kid string `json:"kid"`
}

type claims struct {
	Issuer  string `json:"iss"`
	Subject string `json:"sub"`
	Expires int64  `json:"exp"`
}

type keySet map[string]*rsa.PublicKey

var errRefused = errors.New("refused")

func readKeys(file string) (keySet, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var set struct {
		Keys []struct {
			Kid string `json:"kid"`
			N   string `json:"n"`
			E   string `json:"e"`
		} `json:"keys"`
	}
	if err := json.Unmarshal(text, &set); err != nil {
		return nil, err
	}
	keys := keySet{}
	for _, one := range set.Keys {
		n, err := base64.RawURLEncoding.DecodeString(one.N)
		if err != nil {
			return nil, err
		}
		e, err := base64.RawURLEncoding.DecodeString(one.E)
		if err != nil {
			return nil, err
		}
		keys[one.Kid] = &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(new(big.Int).SetBytes(e).Int64())}
	}
	return keys, nil
}

func segment(text string, into any) error {
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return err
	}
	return json.Unmarshal(raw, into)
}

func (keys keySet) subject(token, issuer string) (string, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return "", errRefused
	}
	var head header
	if err := segment(parts[0], &head); err != nil {
		return "", err
	}
	key := keys[head.Kid]
	if head.Alg != "RS256" || key == nil {
		return "", errRefused
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil {
		return "", err
	}
	digest := sha256.Sum256([]byte(token[:len(parts[0])+1+len(parts[1])]))
	if err := rsa.VerifyPKCS1v15(key, crypto.SHA256, digest[:], signature); err != nil {
		return "", err
	}
	var said claims
	if err := segment(parts[1], &said); err != nil {
		return "", err
	}
	if said.Issuer != issuer || said.Subject == "" || said.Expires <= time.Now().Unix() {
		return "", errRefused
	}
	return said.Subject, nil
}

func tokenOf(request *http.Request) string {
	if bearer, found := strings.CutPrefix(request.Header.Get("Authorization"), "Bearer "); found {
		return bearer
	}
	if cookie, err := request.Cookie("DS"); err == nil {
		return cookie.Value
	}
	return ""
}

type watched struct {
	http.ResponseWriter
	status int
}

func (w *watched) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

func (w *watched) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func main() {
	listen := flag.String("listen", "", "where to listen")
	upstream := flag.String("upstream", "", "where to forward to")
	jwks := flag.String("jwks", "", "file of the published keys")
	issuer := flag.String("issuer", "", "the only issuer that counts")
	logs := flag.Bool("log", false, "write a line for each request")
	flag.Parse()
	keys, err := readKeys(*jwks)
	if err != nil {
		log.Fatal(err)
	}
	target, err := url.Parse(*upstream)
	if err != nil {
		log.Fatal(err)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConns, transport.MaxIdleConnsPerHost, transport.DisableCompression = 1024, 256, true
	proxy := &httputil.ReverseProxy{
		Transport: transport,
		Rewrite:   func(request *httputil.ProxyRequest) { request.SetURL(target) },
	}
	var serve http.Handler = http.HandlerFunc(func(reply http.ResponseWriter, request *http.Request) {
		subject, err := keys.subject(tokenOf(request), *issuer)
		if err != nil {
			reply.WriteHeader(http.StatusUnauthorized)
			return
		}
		request.Header.Set("X-User", subject)
		proxy.ServeHTTP(reply, request)
	})
	if *logs {
		lines := log.New(os.Stdout, "", log.LstdFlags)
		quiet := serve
		serve = http.HandlerFunc(func(reply http.ResponseWriter, request *http.Request) {
			began, seen := time.Now(), &watched{reply, http.StatusOK}
			quiet.ServeHTTP(seen, request)
			lines.Printf("%s %s %s %d %s", request.RemoteAddr, request.Method, request.URL.Path, seen.status, time.Since(began))
		})
	}
	log.Fatal(http.ListenAndServe(*listen, serve))
}
