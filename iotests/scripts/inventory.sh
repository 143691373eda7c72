#!/bin/sh
# Everything in one piece through socat, single-quoted JSON and all; the server ends afterwards.
# Usage: inventory.sh SOCKET
socat -t 60 - "UNIX-CONNECT:$1,shut-none" <<'END' | grep -o '"node-name": "[a-z]*"\|"class": "[A-Za-z]*"\|"id": "[a-z]*"\|SHUTDOWN'
{ 'execute': 'qmp_capabilities' }
{ 'execute': 'blockdev-add', 'arguments': { 'driver': 'null-co', 'node-name': 'one' } }
{ 'execute': 'blockdev-add',
  'arguments': { 'driver': 'null-co',
                 'node-name': 'two', 'size': 1048576 } }
{'execute':'query-named-block-nodes','arguments':{'flat':true}}{'execute':'no-such-command','id':'it'}
{'execute':'blockdev-del','arguments':{'node-name':'three'}}
{'execute':'quit','id':'end'}
END
