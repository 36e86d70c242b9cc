package main

import (
	"fmt"
	"log"
	"net/http"

	"github.com/gorilla/websocket"
)

// By default it takes a page's socket where Origin and Host are of one host.
var upgrader websocket.Upgrader

func who(w http.ResponseWriter, r *http.Request) {
	fmt.Fprintf(w, "%s from %s to %s\n", r.Header.Get("X-Forwarded-Proto"), r.Header.Get("X-Forwarded-For"), r.Host)
}

func chat(w http.ResponseWriter, r *http.Request) {
	socket, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return // it has answered
	}
	defer socket.Close()
	for {
		kind, message, err := socket.ReadMessage()
		if err != nil {
			return
		}
		if err := socket.WriteMessage(kind, message); err != nil {
			return
		}
	}
}

func main() {
	http.HandleFunc("/", who)
	http.HandleFunc("/chat", chat)
	log.Fatal(http.ListenAndServe("localhost:8080", nil))
}
